"""The demo workflow when its shop moves. The visit as a whole is in tests/e2e."""

from experience.cli.first_visit import load_demo, move_shop


def test_the_demo_is_for_the_shop_of_today() -> None:
    document = load_demo("http://127.0.0.1:4001")
    assert document.nodes[0].data.inputs["Website URL"] == "http://127.0.0.1:4001/sign-in"
    assert "{{" not in document.model_dump_json()


def test_a_shop_that_moved_is_followed_and_changes_of_a_person_stay() -> None:
    mine = load_demo("http://127.0.0.1:4001").model_copy(update={"description": "mine"})
    moved = move_shop(mine, "http://127.0.0.1:4002")
    assert moved.nodes == load_demo("http://127.0.0.1:4002").nodes
    assert moved.description == "mine"


def test_a_shop_that_stayed_changes_nothing() -> None:
    document = load_demo("http://127.0.0.1:4001")
    assert move_shop(document, "http://127.0.0.1:4001") == document


def test_a_workflow_without_an_address_is_left_alone() -> None:
    document = load_demo("http://127.0.0.1:4001")
    broken = document.model_copy(update={"nodes": document.nodes[1:]})
    assert move_shop(broken, "http://127.0.0.1:4002") == broken
