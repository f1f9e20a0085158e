"""A race scores no more images than it takes to tell who is among the best, and seldom errs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netadapt.search.race import BLOCK, Race, batch_size, looks
from netadapt.search.race import tests_of as pairs_that_may_err


def test_looks_double_up_to_all_images():
    assert looks(5000) == (500, 1000, 2000, 4000, 5000)
    assert looks(360) == (360,)
    assert looks(700) == (560, 700)  # batches of 140: four of them are 500 or more


@given(st.integers(1, 60_000), st.integers(1, 3000))
def test_looks_are_whole_batches_and_leave_few_images_out(images, first):
    size, seen = batch_size(images), looks(images, first)
    assert list(seen) == sorted(set(seen))
    assert all(look % size == 0 for look in seen)
    assert seen[-1] == images - images % size
    assert images <= 260 or seen[-1] >= images * 0.93


def test_the_tests_that_may_err_are_counted():
    # Of 4 candidates and 2 to keep: the best may lose to 3 that are worse, the second to 2.
    assert pairs_that_may_err(4, 2) == 3 + 2
    assert pairs_that_may_err(3, 1) == 2


def test_one_clearly_worse_than_as_many_as_go_on_is_out():
    race = Race((500, 1000), error=0.05)
    rise = np.linspace(0, 1, 50)
    losses = {7: rise, 3: rise + 0.2, 5: rise + 0.3, 9: rise + 0.1 * (-1.0) ** np.arange(50)}
    # Constant differences have no spread; candidate 9 is as good as 7 and varies.
    assert race.survivors(losses, 4, keep=2) == [7, 9]
    assert race.survivors(losses, 4, keep=3) == [7, 3, 9]
    assert race.survivors(losses, 4, keep=4) == [7, 3, 5, 9]


def test_what_chance_may_have_done_puts_nobody_out():
    noise = np.where(np.arange(50) % 2, 0.01, -0.01)
    # Mean 0.001 with a deviation of 0.01: over 50 blocks, half of all unseen, t is 1.
    near = {0: np.ones(50), 1: 1.001 + noise}
    assert Race((500, 1000), slack=0.0).survivors(near, 2, keep=1) == [0, 1]
    far = {0: np.ones(50), 1: 1.01 + noise}  # t is 9.9
    assert Race((500, 1000), slack=0.0).survivors(far, 2, keep=1) == [0]


def test_of_equals_those_go_on_that_are_ahead():
    noise = np.where(np.arange(50) % 2, 0.01, -0.01)
    # The deviation of the mean is 0.001: a slack of 0.03 is far above it, one of 0.0005 below.
    near = {0: 1.001 + noise, 1: np.ones(50), 2: 1.0005 - noise}
    assert Race((500, 1000), slack=0.03).survivors(near, 3, keep=1) == [1]
    assert Race((500, 1000), slack=0.03).survivors(near, 3, keep=2) == [1, 2]
    assert Race((500, 1000), slack=0.0005).survivors(near, 3, keep=1) == [0, 1, 2]


@given(
    st.integers(2, 6), st.integers(1, 6), st.integers(2, 20), st.integers(0, 2**31),
)  # fmt: skip
@settings(max_examples=60)
def test_never_fewer_survive_than_may_go_on_and_the_best_so_far_do(field, keep, blocks, seed):
    random = np.random.default_rng(seed)
    losses = {i: tuple(random.normal(i / 5, 1, blocks)) for i in range(field)}
    alive = Race((blocks * BLOCK, 2 * blocks * BLOCK)).survivors(losses, field, keep)
    best = sorted(losses, key=lambda i: float(np.mean(losses[i])))[:keep]
    assert set(best) <= set(alive)


def raced(losses, race, keep):
    """Candidates that are left, and images scored, of per-image losses [candidates, images]."""
    alive, scored, seen = list(range(len(losses))), 0, 0
    for look in race.looks:
        scored += len(alive) * (look - seen)
        blocks = losses[:, :look].reshape(len(losses), -1, BLOCK).mean(2)
        alive = race.survivors({i: blocks[i] for i in alive}, len(losses), keep)
        if len(alive) <= keep:
            break
        seen = look
    means = losses.mean(1)
    return sorted(alive, key=lambda i: means[i])[:keep], scored


def image_losses(random, candidates, images, gap):
    """Mostly small and now and then large, alike for all candidates, as cross entropy is."""
    hard = random.exponential(1.0, images)
    own = random.exponential(0.3, (candidates, images)) * hard
    return hard + own + gap * np.arange(candidates)[:, None]


@pytest.mark.parametrize("slack", [0.0, 0.003, 0.03])
@pytest.mark.parametrize("gap", [0.0, 0.003, 0.01])
def test_the_best_are_missed_no_more_often_than_stated(gap, slack):
    """Ten candidates that are close, of which three go on; error 20 % so that errors would show."""
    # Binomial(150, 0.2) exceeds 45 in about one of 1000 draws.
    assert missed(gap, slack) <= 45


def test_a_test_that_believes_any_difference_would_miss_the_best(monkeypatch):
    """What the test above would show if the threshold were wrong."""
    monkeypatch.setattr("netadapt.search.race._quantile", lambda *_: 0.5)
    assert missed(0.003, 0.0) > 45


def missed(gap, slack):
    """How often of 150 races one was left out that is better than one left, by more than slack."""
    random, runs, wrong = np.random.default_rng(1), 150, 0
    race = Race((250, 500, 1000, 2000), 0.2, slack)
    for _ in range(runs):
        losses = image_losses(random, 10, 2000, gap)
        means = losses.mean(1)
        left, _ = raced(losses, race, 3)
        bar = means[left].max() - slack * means.min()
        wrong += any(mean < bar for i, mean in enumerate(means) if i not in left)
    return wrong


def test_a_race_saves_images_where_candidates_differ():
    random = np.random.default_rng(2)
    losses = image_losses(random, 14, 5000, 0.1)
    left, scored = raced(losses, Race(looks(5000), slack=0.0), 4)
    assert sorted(left) == [0, 1, 2, 3]
    assert scored < 14 * 5000 / 3


def test_a_race_of_equals_ends_where_their_differences_do_not_matter():
    losses = image_losses(np.random.default_rng(3), 14, 5000, 0.0)
    _, every = raced(losses, Race(looks(5000), slack=0.0), 4)
    _, enough = raced(losses, Race(looks(5000), slack=0.03), 4)
    assert enough < every * 0.6
