"""Kinds that only a newer process knows hide none of the others."""

from contracts.shortcoming import ListShortcomings, Shortcoming, Shortcomings


def test_what_only_a_newer_runtime_knows_is_left_out() -> None:
    known = {"shortcoming": "code_refused", "detail": "Install bubblewrap.", "workers": 1}
    newer = {"shortcoming": "of_next_year", "detail": "Who knows.", "workers": 2}
    read = Shortcomings.model_validate({"items": [newer, known]})
    assert [one.shortcoming for one in read.items] == [Shortcoming.CODE_REFUSED]


def test_who_names_none_knows_those_of_the_first_release() -> None:
    assert ListShortcomings().names == {"browsers_exposed", "code_refused"}
