"""Domains for your own images: a folder of image files, WebDataset shards, or an .npz file."""

import domtrans

domtrans_interface = 1


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Register the domains and the recipes."""
    from domtrans_files import domains, extended, readers, recipes, subset, webdataset

    registry.domain("folder", domains.folder, reader=readers.FolderReader())
    registry.domain("arrays", domains.arrays, reader=readers.ArrayReader())
    registry.domain("webdataset", webdataset.webdataset, reader=readers.ShardReader())
    registry.domain("subset", subset.subset)
    registry.domain("extended", extended.extended)
    registry.recipe("folders-dtn", recipes.folders_dtn)
    registry.recipe("photos-dtn", recipes.photos_dtn)
    registry.domain("python", domtrans.python_data)
