import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nlhf.streams import Stream

names = st.lists(st.text(max_size=5) | st.integers(0, 9), min_size=1, max_size=3)


@given(st.integers(0, 2**63), names)
def test_a_stream_is_the_same_whenever_it_is_asked_for(seed, path):
    a = Stream(seed).child(*path).generator().random(4)
    Stream(seed).child("somebody", "else").generator().random(100)
    np.testing.assert_array_equal(a, Stream(seed).child(*path).generator().random(4))


def test_children_of_different_names_and_seeds_differ():
    draws = {
        tuple(stream.generator().random(2))
        for stream in (
            Stream(0),
            Stream(1),
            Stream(0).child("a"),
            Stream(0).child("b"),
            Stream(0).child("a", "b"),
            Stream(0).child("ab"),
        )
    }
    assert len(draws) == 6


def test_a_child_of_a_child_is_the_child_of_the_path():
    assert Stream(3).child("a").child("b") == Stream(3).child("a", "b")
