"""What the kernel can do is tried; what is then used is a choice that tests can force."""

import pytest
from builders.recording import is_root

from qtapture.capture.features import (
    NOTHING,
    Features,
    Means,
    Without,
    choose_means,
    detect_features,
)
from qtapture.errors import HostError, UsageError

WISHES = Means(attach="auto", hooks="auto")
OLD = Features(uprobe_multi=False, socklen=False, cookie=False, atomics=False, ring_losses=False)


def chosen(features: Features, *without: str, wishes: Means = WISHES) -> Means:
    return choose_means(features, wishes, without=frozenset(without))


def test_the_best_is_taken_where_it_is() -> None:
    means = chosen(Features())
    assert (means.attach, means.hooks, means.without) == ("multi", "socklen", NOTHING)


def test_an_old_kernel_gets_the_fallbacks() -> None:
    means = chosen(OLD)
    assert (means.attach, means.hooks) == ("perf", "syscalls")
    assert means.without == Without.COOKIE | Without.ATOMICS
    assert not means.ring_losses


def test_each_fallback_can_be_forced() -> None:
    assert chosen(Features(), wishes=Means(attach="perf", hooks="auto")).attach == "perf"
    assert chosen(Features(), wishes=Means(attach="auto", hooks="syscalls")).hooks == "syscalls"
    assert chosen(Features(), "uprobe_multi").attach == "perf"
    assert chosen(Features(), "cookie").without == Without.COOKIE


@pytest.mark.parametrize(
    "wishes", [Means(attach="multi", hooks="auto"), Means(attach="auto", hooks="socklen")]
)
def test_what_is_asked_for_and_not_there_is_refused_with_what_works(wishes: Means) -> None:
    with pytest.raises(HostError, match=r"this kernel lacks it; .* works"):
        chosen(OLD, wishes=wishes)


def test_an_unknown_feature_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"no feature magic.*uprobe_multi"):
        chosen(Features(), "magic")


@pytest.mark.skipif(not is_root(), reason="loading programs needs root")
def test_this_host_is_tried() -> None:
    found = detect_features()
    assert found.cookie  # Linux 5.15, older than anything that tests run on
    assert found == detect_features()
