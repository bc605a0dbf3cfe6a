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


@given(st.permutations(["a", "b", "c", "d"]))
def test_albums_that_show_one_picture_are_one_by_their_first_name(names):
    albums = {f"{album}/{number}.png": album for album in names for number in range(2)}
    shown = {"b/0": "one", "d/1": "one", "d/0": "two", "c/0": "two", "a/0": "own", "a/1": "own"}
    contents = {f"{name}.png": content for name, content in shown.items()}
    joined = splits.joined(albums, contents)
    assert joined == {name: "b" if album in "bcd" else "a" for name, album in albums.items()}
    assert splits.joined(albums, {}) == albums
