"""What processes tell one another when one leaves. Here they are threads with a store in memory."""

import threading

import pytest
from torch.distributed import HashStore

from domtrans.compute.notices import FAILED, STOPPED, Notices


class NotedStore:
    """A store that notes who uses it."""

    def __init__(self, store, rank, uses):
        self.store, self.rank, self.uses = store, rank, uses

    def __getattr__(self, name):
        def use(*arguments):
            answer = getattr(self.store, name)(*arguments)
            self.uses.append(self.rank)
            return answer

        return use


def processes(count):
    """Notices of processes that share a store, and the ranks in the order in which they used it."""
    store, uses = HashStore(), []
    return [Notices(NotedStore(store, rank, uses), rank, count, threading.Event()) for rank in range(count)], uses


@pytest.mark.parametrize("leaving", [(0,), (1,), (0, 1, 2)])
@pytest.mark.parametrize("notice", [STOPPED, FAILED])
def test_all_read_a_notice_before_anyone_leaves_and_the_store_leaves_last(notice, leaving):
    everyone, uses = processes(3)
    threads = [threading.Thread(target=everyone[rank].leave, args=[notice]) for rank in leaving if rank]
    for thread in threads:
        thread.start()
    everyone[0].leave(notice)
    used = len(uses)
    assert [each.notice for each in everyone] == [notice] * 3
    assert [each.stop.is_set() for each in everyone] == [notice == STOPPED] * 3
    for each in (*threads, everyone[1], everyone[2]):
        each.join() if isinstance(each, threading.Thread) else each.leave(FAILED)
    assert uses[used:] == [], "a process used the store after the main process left"
    for each in everyone:
        each.close()


def test_a_stop_in_one_process_stops_all():
    everyone, _ = processes(2)
    everyone[1].stop.set()
    assert all(each.stop.wait(120) for each in everyone)
    for each in everyone:
        each.leave(STOPPED)
        each.close()
