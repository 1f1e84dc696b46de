"""Content in blocks with their digests: whatever is changed in a file is found, before it is used."""

import hashlib
import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewire as rw
from rewire import _blocks, _container
from rewire._fileio import FileError, open_regular

SMALL = 64  # bytes of a block in most of these tests


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_blocks, "BLOCK", SMALL)


def sealed(content, cuts=()):
    """A file with this content, written in pieces that end at these places."""
    file = io.BytesIO()
    writer = _blocks.Writer(file)
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    for begin, end in zip(places, places[1:], strict=False):
        writer.write(content[begin:end])
    writer.finish()
    assert writer.written == len(content)
    return file.getvalue()


def opened(path, whole):
    path.write_bytes(whole)
    return open_regular(path)


def read(path, whole):
    """All of the content, block after block."""
    with opened(path, whole) as file:
        reader = _blocks.Reader(path, file)
        return bytes(reader.read(0, reader.size))


def content(n_bytes, seed=0):
    return np.random.default_rng(seed).bytes(n_bytes)


def by_the_book(whole, block):
    """The content of a file, from nothing but what docs/files.md says."""
    count = -(-(len(whole) - 32) // (block + 32))
    size = len(whole) - 32 * (count + 1)
    blocks = [whole[begin : min(begin + block, size)] for begin in range(0, size, block)]
    digests = b"".join(hashlib.sha256(b"\0" + part).digest() for part in blocks)
    assert whole[size:] == digests + hashlib.sha256(b"\1" + digests).digest() and len(blocks) == count
    return whole[:size]


SIZES = [1, SMALL - 1, SMALL, SMALL + 1, 2 * SMALL, 5 * SMALL - 3, 5 * SMALL]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_what_the_book_says(tmp_path, small_blocks, size):
    whole = sealed(content(size))
    assert by_the_book(whole, SMALL) == content(size) == read(tmp_path / "f", whole)


@given(size=st.integers(1, 6 * SMALL), cuts=st.lists(st.integers(0, 6 * SMALL), max_size=9))
def test_a_file_does_not_depend_on_the_pieces_it_is_written_in(size, cuts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "BLOCK", SMALL)
        assert sealed(content(size), cuts) == sealed(content(size))


@given(size=st.integers(1, 2**62), block=st.sampled_from([1, 2, SMALL, 2**20]))
def test_the_size_of_a_file_says_where_its_content_ends(size, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "BLOCK", block)
        whole = size + _blocks.digests_size(size)
        assert _blocks.content_size(whole) == size
        found = _blocks.content_size(whole + 1)  # one byte more, or a size that no file has
        assert found in (None, size + 1)


def test_sizes_that_no_file_has(small_blocks):
    possible = {size + _blocks.digests_size(size): size for size in range(1, 1000)}
    assert {n: _blocks.content_size(n) for n in range(1000)} == {n: possible.get(n) for n in range(1000)}


@given(data=st.data(), size=st.integers(1, 6 * SMALL))
def test_content_is_read_in_any_order(tmp_path_factory, data, size):
    path = tmp_path_factory.getbasetemp() / "any-order"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "BLOCK", SMALL)
        with opened(path, sealed(content(size))) as file:
            reader = _blocks.Reader(path, file)
            for _ in range(4):
                begin = data.draw(st.integers(0, size))
                end = data.draw(st.integers(begin, size))
                assert reader.read(begin, end - begin) == content(size)[begin:end]


# --- every change is found


@pytest.mark.parametrize("size", [3 * SMALL - 5, 3 * SMALL])
def test_one_flipped_bit_anywhere_is_found(tmp_path, small_blocks, size):
    whole = sealed(content(size))
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        with pytest.raises(FileError, match="damaged"):
            read(tmp_path / "f", changed)


def test_a_block_of_many_small_arrays_is_hashed_once(tmp_path, monkeypatch):
    arrays = {f"a{i}": np.full(3, i) for i in range(50)}
    _container.write(tmp_path / "f", "network", {}, arrays, "0")
    loaded = []
    load = _blocks.Reader._load
    monkeypatch.setattr(_blocks.Reader, "_load", lambda *args: [loaded.append(args[1]), load(*args)])
    found = _container.read(tmp_path / "f")[2]
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays) and loaded == [0]


def test_only_what_is_asked_for_has_to_be_whole(tmp_path, small_blocks):
    changed = bytearray(sealed(content(5 * SMALL)))
    changed[2 * SMALL + 7] ^= 1
    with opened(tmp_path / "f", changed) as file:
        reader = _blocks.Reader(tmp_path / "f", file)
        for _ in range(2):  # a damaged block is not taken for one that has been read
            with pytest.raises(FileError, match="bytes 128 to 191 do not fit their digest"):
                reader.read(2 * SMALL + 50, 3)
            assert reader.read(SMALL + 1, 9) == content(5 * SMALL)[SMALL + 1 : SMALL + 10]
        assert reader.read(3 * SMALL, 2 * SMALL) == content(5 * SMALL)[3 * SMALL :]


@pytest.mark.parametrize("size", [3 * SMALL - 5, 3 * SMALL])
def test_files_that_are_cut_or_longer_are_refused(tmp_path, small_blocks, size):
    whole = sealed(content(size))
    shorter = [whole[:end] for end in range(len(whole))] + [whole[begin:] for begin in range(1, len(whole))]
    longer = [whole + content(n, seed=n) for n in range(1, 40)] + [b"\0" + whole, whole + whole]
    for changed in shorter + longer + [whole + bytes(n) for n in (1, 31, 32, 33, SMALL, SMALL + 32)]:
        with pytest.raises(FileError, match="damaged"):
            read(tmp_path / "f", changed)


@pytest.mark.parametrize("with_digests", [False, True])
def test_blocks_that_changed_places_are_found(tmp_path, small_blocks, with_digests):
    size, count = 4 * SMALL, 4
    whole = sealed(content(size))
    for a in range(count):
        for b in range(a):
            changed = bytearray(whole)
            for begin, width in [(0, SMALL)] + [(size, 32)] * with_digests:
                i, j = (slice(begin + k * width, begin + (k + 1) * width) for k in (a, b))
                changed[i], changed[j] = changed[j], changed[i]
            with pytest.raises(FileError, match="damaged"):
                read(tmp_path / "f", changed)


def test_a_block_that_is_lost_with_its_digest_is_found(tmp_path, small_blocks):
    whole = sealed(content(4 * SMALL))
    for k in range(4):
        digests = 4 * SMALL + 32 * k
        changed = whole[: SMALL * k] + whole[SMALL * (k + 1) : digests] + whole[digests + 32 :]
        with pytest.raises(FileError, match="damaged"):
            read(tmp_path / "f", changed)


def test_digests_cannot_stand_for_content(tmp_path, monkeypatch):
    """A file whose content is the digests of another one's blocks has another root."""
    monkeypatch.setattr(_blocks, "BLOCK", SMALL)
    whole = sealed(content(2 * SMALL))
    digests, root = whole[2 * SMALL : -32], whole[-32:]
    assert len(digests) == SMALL and sealed(digests)[SMALL : SMALL + 32] != root != sealed(digests)[-32:]


def test_a_file_that_shrinks_while_it_is_read(tmp_path, small_blocks):
    path = tmp_path / "f"
    with opened(path, sealed(content(5 * SMALL))) as file:
        reader = _blocks.Reader(path, file)
        os.truncate(path, 3 * SMALL + 1)
        with pytest.raises(FileError, match="is cut short: it ended while it was read"):
            reader.read(0, 4 * SMALL)


# --- the same of whole containers


def network():
    return rw.Sequential([rw.Sparse(6, 8, density=0.5, group=2), rw.Dense(8, 3)], dtype="float64")


@pytest.mark.parametrize("block", [SMALL, _blocks.BLOCK])
def test_one_flipped_bit_anywhere_in_a_saved_network_is_found(tmp_path, monkeypatch, block):
    monkeypatch.setattr(_blocks, "BLOCK", block)
    path = tmp_path / "n"
    network().save(path)
    whole = path.read_bytes()
    assert by_the_book(whole, block) == whole[: _blocks.content_size(len(whole))]
    assert np.array_equal(rw.load(path).predict(np.eye(6)), network().predict(np.eye(6)))
    ends = [*range(200), *range(len(whole) - 100, len(whole))]
    for place in {*ends, *range(0, len(whole), 7)}:
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(FileError):
            _container.read(path)


def rewritten(path, change):
    """The file at ``path`` with another header, and digests that fit."""
    whole = path.read_bytes()
    body = whole[: _blocks.content_size(len(whole))]
    end = 8 + int.from_bytes(body[:8], "little")
    header = change(body[8:end])
    path.write_bytes(sealed(len(header).to_bytes(8, "little") + header + body[end:]))


def replaced(old, new):
    def change(header):
        assert header.count(old) == 1
        header = header.replace(old, new).rstrip(b" ")
        return header + b" " * (-len(header) % 8)

    return change


HEADERS = {
    "another order": lambda h: h.replace(b'"config"', b'"CONFIG"').replace(b'"b"', b'"config"'),
    "a gap": replaced(b'"data_offsets":[8,24]', b'"data_offsets":[8,25]'),
    "an overlap": replaced(b'"data_offsets":[8,24]', b'"data_offsets":[0,24]'),
    "a shape that does not fit": replaced(b'"shape":[2,2]', b'"shape":[2,1]'),
    "a shape of too many axes": replaced(b'"shape":[2,2]', b'"shape":[1,1,1,1,1,1,1,2,2]'),
    "an axis that is too long": replaced(b'"shape":[0]', b'"shape":[0,4611686018427387904]'),
    "a negative axis": replaced(b'"shape":[2,2]', b'"shape":[-2,-2]'),
    "an axis that is a float": replaced(b'"shape":[2,2]', b'"shape":[2,2.0]'),
    "an axis that is true": replaced(b'"shape":[2,2]', b'"shape":[true,4]'),
    "a shape that is a number": replaced(b'"shape":[2,2]', b'"shape":4'),
    "an entry that is a number": replaced(b'{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}', b"4"),
    "a dtype that nobody writes": replaced(b'"F32","shape":[2,2]', b'"F16","shape":[2,2]'),
    "a dtype that is a list": replaced(b'"F32","shape":[2,2]', b'[],"shape":[2,2]'),
    "a wider dtype": replaced(b'"F32","shape":[2,2]', b'"F64","shape":[2,2]'),
    "an entry too many": replaced(b'"shape":[2,2],', b'"shape":[2,2],"x":0,'),
    "an array too many": replaced(b'"b":', b'"c":{"dtype":"F32","shape":[0],"data_offsets":[8,8]},"b":'),
    "an array twice": replaced(b'"b":', b'"a":{"dtype":"F32","shape":[0],"data_offsets":[8,8]},"b":'),
    "no configuration": replaced(b'"config"', b'"comfig"'),
    "no digests": replaced(b'"digests"', b'"digest"'),
    "more metadata": replaced(b'"kind":"network"', b'"kind":"network","x":"0"'),
    "less metadata": replaced(b',"kind":"network"', b""),
    "a kind that is a number": replaced(b'"kind":"network"', b'"kind":2'),
    "a rewire that is a list": replaced(b'"rewire":"0"', b'"rewire":["0"]'),
    "blanks elsewhere": replaced(b'"a":', b'"a" :'),
    "more blanks": lambda h: h + b" " * 8,
    "fewer blanks": lambda h: h.rstrip(b" "),
    "not JSON": lambda h: h[:-9] + b" " * 9,
    "not ASCII": replaced(b'"a"', '"å"'.encode()),
    "a list": lambda h: b"[" + h.rstrip(b" ") + b"]",
}  # fmt: skip


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_headers_of_another_form_are_refused(tmp_path, change):
    path = tmp_path / "f"
    arrays = {"a": np.ones((2, 2), "f4"), "b": np.zeros(0, "f4")}
    _container.write(path, "network", {"x": 1}, arrays, "0")
    rewritten(path, lambda header: header)
    assert _container.read(path)[1] == {"x": 1}
    rewritten(path, change)
    with pytest.raises(FileError):
        _container.read(path)


@pytest.mark.parametrize("claimed", [0, 3, 5, 900])
def test_a_header_that_claims_another_size_is_refused(tmp_path, claimed):
    """It is of the right form, but there are more bytes behind it, or fewer."""
    path = tmp_path / "f"
    _container.write(path, "network", {}, {"a": np.ones(4, "f4")}, "0")
    metadata = dict(zip(_container._KEYS, ("rewire", "2", "0", "network"), strict=True))
    rewritten(
        path, lambda header: _container._header(metadata, 8, {"a": _container.Entry("F32", (claimed,))})
    )
    with pytest.raises(FileError, match="its header says"):
        _container.read(path)


def test_a_header_does_not_reach_into_the_digests(tmp_path):
    path = tmp_path / "f"
    _container.write(path, "network", {}, {}, "0")
    whole = path.read_bytes()
    body = whole[: _blocks.content_size(len(whole))]
    path.write_bytes(sealed(len(body).to_bytes(8, "little") + body[8:]))
    with pytest.raises(FileError, match="is cut short or damaged: its header alone has"):
        _container.read(path)


def test_more_arrays_than_any_network_has_are_refused(tmp_path, monkeypatch):
    _container.write(tmp_path / "f", "network", {}, dict.fromkeys("abc", np.zeros(1)), "0")
    monkeypatch.setattr(_container, "_MOST_ARRAYS", 2)
    with pytest.raises(FileError, match="has 3 arrays, expected at most 2"):
        _container.read(tmp_path / "f")


def test_what_a_signal_handler_raises_while_json_is_parsed_comes_through(tmp_path, monkeypatch):
    def handler(*_):
        raise ValueError("enough")

    def interrupted(text):
        signal.raise_signal(signal.SIGALRM)

    _container.write(tmp_path / "f", "network", {}, {}, "0")
    monkeypatch.setattr(json, "loads", interrupted)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(ValueError, match="^enough$"):
            _container.read(tmp_path / "f")
    finally:
        signal.signal(signal.SIGALRM, before)


def test_booleans_are_0_or_1(tmp_path):
    for value, good in ((1, True), (2, False)):
        array = np.array([0, value], np.uint8).view(bool)
        _container.write(tmp_path / "f", "network", {}, {"a": array}, "0")
        if good:
            assert _container.read(tmp_path / "f")[2]["a"].tolist() == [False, True]
            continue
        with pytest.raises(FileError, match="array 'a' of booleans"):
            _container.read(tmp_path / "f")


# --- arrays in parts


ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=5).filter(lambda name: name not in ("config", "digests")),
    st.tuples(
        st.sampled_from(sorted(_container._DTYPES.values())),
        st.lists(st.integers(0, 5), max_size=3),
        st.sampled_from(["as it is", "transposed", "big-endian", "strided", "in parts", "in odd parts"]),
    ),
    max_size=5,
)


@given(ARRAYS)
def test_arrays_come_back_as_they_were_however_they_are_given(tmp_path_factory, described):
    path, rng = tmp_path_factory.getbasetemp() / "arrays", np.random.default_rng(0)
    given_, wanted = {}, {}
    for name, (dtype, shape, how) in described.items():
        array = rng.integers(0, 2, shape).astype(dtype)
        given_[name] = array
        if how == "transposed":
            given_[name] = array = array.T
        elif how == "big-endian":
            given_[name] = array.astype(array.dtype.newbyteorder(">"))
        elif how == "strided" and shape:
            given_[name] = np.repeat(array, 2, axis=0)[::2]
        elif how == "in parts":
            given_[name] = _container.Parts(dtype, array.shape, lambda array=array: [array])
        elif how == "in odd parts":
            parts = np.array_split(array.reshape(-1), 3)
            given_[name] = _container.Parts(dtype, array.shape, lambda parts=parts: iter(parts))
        wanted[name] = array
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "BLOCK", SMALL)
        patch.setattr(_container, "_PIECE", 24)
        _container.write(path, "network", {"x": [1]}, given_, "0")
        metadata, config, found = _container.read(path)
        with open_regular(path) as file:
            reader = _container.Reader(path, file)
            pieces = {name: list(reader.pieces(name)) for name in reader.entries}
    assert config == {"x": [1]} and metadata["kind"] == "network" and list(found) == sorted(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes() == b"".join(p.tobytes() for p in pieces[name])
        assert reader._starts[name] % array.itemsize == 0  # aligned, for programs that map the file
        assert found[name].flags.writeable and all(0 < p.nbytes <= 24 for p in pieces[name])


@pytest.mark.parametrize("dtype, count, words", [
    ("<f4", 5, r"the parts of array 'a' are \+4 bytes too long"),
    ("<f4", 3, "the parts of array 'a' are -4 bytes too long"),
    ("<f8", 4, "Cannot cast"),
])  # fmt: skip
def test_parts_that_do_not_fit_leave_the_old_file(tmp_path, dtype, count, words):
    path = tmp_path / "f"
    path.write_text("old")
    part = _container.Parts("<f4", (4,), lambda: [np.zeros(count, dtype)])
    with pytest.raises((TypeError, ValueError), match=words):
        _container.write(path, "network", {}, {"a": part}, "0")
    assert path.read_text() == "old" and [p.name for p in Path(tmp_path).iterdir()] == ["f"]


def test_arrays_that_cannot_be_saved(tmp_path, monkeypatch):
    for name in ("config", "digests", "__metadata__"):
        with pytest.raises(ValueError, match="cannot be called"):
            _container.write(tmp_path / "f", "network", {}, {name: np.zeros(1)}, "0")
    with pytest.raises(TypeError, match="has the dtype complex128"):
        _container.write(tmp_path / "f", "network", {}, {"a": np.zeros(1, complex)}, "0")
    with pytest.raises(ValueError, match="has 9 axes, expected at most 8"):
        _container.write(tmp_path / "f", "network", {}, {"a": np.zeros((1,) * 9)}, "0")
    with pytest.raises(ValueError, match="with 30000 signs"):
        _container.write(tmp_path / "f", "network", {"x": [[]] * 29_998}, {}, "0")
    with pytest.raises(ValueError, match="of so long names"):
        _container.write(tmp_path / "f", "network", {}, {"x" * 6_000_000: np.zeros(1)}, "0")
    monkeypatch.setattr(_container, "_MOST_ARRAYS", 2)
    with pytest.raises(ValueError, match="cannot save 3 arrays: at most 2"):
        _container.write(tmp_path / "f", "network", {}, dict.fromkeys("abc", np.zeros(1)), "0")
    assert not list(tmp_path.iterdir())
