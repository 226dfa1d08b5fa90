"""Names of version 0.1 that plugins use still work, with a warning that gives the new name."""

import pytest
import torch
from torch import nn

from domtrans import Discriminator, Session


def make(assign):
    """A class-conditional D of an old plugin, which sets ``reads_classes`` on the class or on the instance."""
    members = {} if assign else {"reads_classes": 4}

    class Old(Discriminator):
        locals().update(members)

        def __init__(self):
            super().__init__()
            if assign:
                self.reads_classes = 4
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 15), nn.Unflatten(1, (5, 3)))

        def forward(self, images, classes=None):
            return self.told(self.layers(images), classes)

    return Old()


@pytest.mark.parametrize("assign", [True, False])
def test_a_discriminator_with_the_old_names_is_conditioned(assign):
    with pytest.warns(DeprecationWarning, match="reads_classes is now called condition_classes"):
        old = make(assign)
    assert old.condition_classes == 4
    images, classes = torch.zeros(2, 1, 2, 2), torch.eye(4)[:2]
    with pytest.warns(DeprecationWarning, match="told is now called condition"):
        logits = old(images, classes)
    assert torch.equal(logits, old.condition(old.layers(images), classes))


def test_a_session_reports_under_the_old_names():
    heard = []
    session = Session.start("cpu", listeners=(heard.append,)).during("fit")
    with pytest.warns(DeprecationWarning, match="use Session.progress"):
        session.report(1, 2, {"loss": 0.5})
    with pytest.warns(DeprecationWarning, match="use Session.note"):
        session.tell(1, 2, "a note")
    assert [(each.phase, each.step, each.steps, each.note) for each in heard] == [("fit", 1, 2, ""), ("fit", 1, 2, "a note")]
