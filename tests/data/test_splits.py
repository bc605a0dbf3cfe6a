import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan_lit.data import splits


@given(st.sets(st.text(min_size=1), min_size=2, max_size=60), st.floats(0.01, 0.99))
def test_both_sides_of_the_split_have_something(albums, share):
    held_out = splits.held_out(albums, share)
    assert held_out
    assert held_out < albums


@pytest.mark.long
@given(st.sets(st.integers(), min_size=200, max_size=300), st.sets(st.integers(), max_size=50))
def test_no_album_moves_when_others_are_added(albums, others):
    before, after = splits.held_out(map(str, albums), 0.2), splits.held_out(map(str, albums | others), 0.2)
    assert before == after & {str(album) for album in albums}


def test_about_five_in_a_hundred_albums_are_held_out():
    held_out = splits.held_out((f"{user}@N07_{user % 40}" for user in range(10_000)), 0.05)
    assert 430 < len(held_out) < 570  # three standard deviations


def test_the_split_does_not_change_between_versions():
    # Published scores rest on it: these are the albums that are held out, for good.
    assert splits.held_out([f"{n}@N07_31" for n in range(40)], 0.05) == {"24@N07_31"}
