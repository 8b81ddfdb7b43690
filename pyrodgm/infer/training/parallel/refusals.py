"""What several processes cannot train together."""

from pyrodgm.datasets.shards import Shards
from pyrodgm.infer.training.feeds.feed import Feed
from pyrodgm.infer.training.feeds.memory import MemoryFeed
from pyrodgm.infer.training.feeds.stream import StreamFeed
from pyrodgm.infer.training.feeds.windows import WindowFeed
from pyrodgm.infer.training.parallel.rows_of_stream import RowsOfStream, can_be_split, own_rows_of_stream
from pyrodgm.infer.training.parallel.shared_feed import SharedFeed, bound_of
from pyrodgm.infer.training.parallel.split_stream import SplitStream
from pyrodgm.infer.training.settings import Plan, require
from pyrodgm.processes import World


def share_feed(feed: Feed, plan: Plan, world: World) -> SharedFeed:
    """The feed of one process as that of several.

    Raises:
        ValueError: If its batches cannot be divided by rows.
    """
    size = plan.settings.labelled_batch_size
    require(size is None, "labelled_batch_size", size, f"None where {world.size} processes share a batch")
    if isinstance(feed, WindowFeed):
        return SharedFeed(feed, feed.validate)
    assert isinstance(feed, (MemoryFeed, StreamFeed))
    measure = bound_of(feed.valid, world)
    if isinstance(feed, StreamFeed) and isinstance(feed.loader.dataset, Shards):
        return SharedFeed(SplitStream(feed, feed.loader.dataset, world), measure, own_rows_of_stream)
    if isinstance(feed, StreamFeed) and can_be_split(feed.loader):
        return SharedFeed(RowsOfStream(feed, world), measure, own_rows_of_stream)
    return SharedFeed(feed, measure)
