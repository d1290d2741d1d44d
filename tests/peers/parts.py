"""Wall time of a model's parts, measured by wrapping methods (CPU execution is synchronous)."""

import resource
import time
from collections import defaultdict


def peak_rss_mb():
    """Largest resident set of this process so far, in MB (1e6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class PartTimer:
    """Sums the time spent inside the wrapped methods, and how often they were called."""

    def __init__(self):
        self.seconds = defaultdict(float)

    def wrap(self, owner, method, name):
        """Replaces owner.method by one that adds its own wall time to `name`."""
        inner = getattr(owner, method)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - start

        setattr(owner, method, timed)

    def add(self, name, seconds):
        self.seconds[name] += seconds

    def reset(self):
        self.seconds.clear()

    def table(self, steps):
        """Milliseconds per step of every part, in the order of first use."""
        return {name: round(1e3 * total / steps, 2) for name, total in self.seconds.items()}


def watch_detector(timer, model):
    """Wraps the parts of a torchvision FasterRCNN. Names with a dot are inside the part before it."""
    timer.wrap(model.transform, "forward", "transform")
    timer.wrap(model.backbone, "forward", "backbone")
    timer.wrap(model.rpn, "forward", "rpn")
    timer.wrap(model.rpn.head, "forward", "rpn.head")
    timer.wrap(model.rpn.anchor_generator, "forward", "rpn.anchors")
    timer.wrap(model.rpn, "filter_proposals", "rpn.proposals")
    timer.wrap(model.rpn, "assign_targets_to_anchors", "rpn.targets")
    timer.wrap(model.rpn, "compute_loss", "rpn.loss")
    heads = model.roi_heads
    timer.wrap(heads, "forward", "roi")
    timer.wrap(heads, "select_training_samples", "roi.targets")
    timer.wrap(heads.box_roi_pool, "forward", "roi.pool")
    timer.wrap(heads.box_head, "forward", "roi.hidden")
    timer.wrap(heads.box_predictor, "forward", "roi.predictor")
    timer.wrap(heads, "postprocess_detections", "roi.detections")
