"""Plug-ins are found by name, and every way that can fail is told in one line."""

from pathlib import Path

import pytest

from backtalk.cascade.plugins import find, names
from backtalk.errors import ConfigError

GROUP = "backtalk.tts"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a package with one module and its entry points onto the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(package: str, entry_points: str, source: str = "", more: str = "") -> None:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n{more}"
        )
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry_points}\n")

    return install


def refusal(name: str, group: str = GROUP) -> str:
    with pytest.raises(ConfigError) as raised:
        find(group, name)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_own_plugins_are_listed_and_found():
    assert "clauses" in names("backtalk.segmenter")
    assert {"llama", "openai"} <= set(names("backtalk.llm"))
    assert find("backtalk.segmenter", "clauses")(None).push("Yes. ") == ["Yes."]


def test_unknown_name_lists_what_is_installed():
    message = refusal("nope")
    assert "no tts plug-in is called 'nope'" in message
    assert "hibari" in message
    assert "installed: none" in refusal("nope", "backtalk.nothing")


def test_plugin_of_another_package_is_built_with_store_and_options(install):
    install("loud-tts", "loud = loud_tts:build", "def build(store, **o):\n    return store, o\n")
    assert find(GROUP, "loud")("store", volume=3) == ("store", {"volume": 3})


def test_unknown_option_lists_those_there_are(install):
    install("plain-tts", "plain = plain_tts:build", "def build(store, speed=1): return speed\n")
    build = find(GROUP, "plain")
    assert build(None, speed=2) == 2
    with pytest.raises(ConfigError, match="'plain' has no option pitch; it knows speed"):
        build(None, pitch=2)


def test_missing_package_is_named_with_the_command_that_installs_it(install):
    install("needy-tts", "needy = needy_tts:build", "import not_there_at_all\n")
    message = refusal("needy")
    assert "'needy' needs not_there_at_all" in message
    assert "`pip install not_there_at_all`" in message


def test_missing_package_of_an_extra_names_the_extra(install):
    install(
        "extra-tts",
        "one = extra_tts:build\nfast = extra_tts:build",
        "import not_there\n",
        "Provides-Extra: fast\nRequires-Dist: not-there-lib>=1; extra == 'fast'\n",
    )
    assert "`pip install 'extra-tts[fast]'`" in refusal("fast")
    assert "`pip install 'extra-tts[fast]'`" in refusal("one")


def test_package_that_a_builder_imports_late_is_named_too(install):
    install("late-tts", "late = late_tts:build", "def build(store):\n    import not_there.part\n")
    build = find(GROUP, "late")
    with pytest.raises(ConfigError, match="needs not_there, which is not installed"):
        build(None)


def test_plugin_that_breaks_on_import_is_named_with_its_package(install):
    install("broken-tts", "broken = broken_tts:build", "raise RuntimeError('two\\nlines')\n")
    assert "package broken-tts cannot be loaded: RuntimeError: two lines" in refusal("broken")


def test_builder_that_is_not_there_or_not_callable_is_refused(install):
    install("odd-tts", "gone = odd_tts:gone\nodd = odd_tts:odd\naway = odd_tts.sub:x", "odd = 3\n")
    assert "AttributeError" in refusal("gone")
    assert "is not a builder" in refusal("odd")
    assert "force-reinstall odd-tts" in refusal("away")


def test_two_packages_of_one_plugin_name_are_both_named(install):
    install("b-tts", "same = b_tts:build")
    install("a-tts", "same = a_tts:build")
    message = refusal("same")
    assert "a-tts (a_tts:build), b-tts (b_tts:build)" in message
    assert names(GROUP).count("same") == 1
