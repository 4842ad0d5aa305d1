"""What cannot be read is named as what it is."""

import numpy as np
import pytest

from components.core.data.containers import Format, InvalidImage
from components.core.data.containers.signatures import find_format

ALL: list[Format] = ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"]


def reason(content: bytes) -> str:
    with pytest.raises(InvalidImage) as caught:
        find_format(content, ALL)
    assert caught.value.format == ""
    return str(caught.value)


def ftyp(brand: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + brand + b"\0\0\0\0" + b"".join(compatible)
    return (len(body) + 4).to_bytes(4, "big") + body + bytes(100)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (bytes(128) + b"DICM\x02\0\0\0", "DICOM"),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\xff\xd8\xff\xf7\0\x0b", "JPEG-LS"),
        (b"II\xbc\x01 \0\0\0", "JPEG XR"),
        (ftyp(b"heic", b"mif1"), "HEIC"),
        (ftyp(b"heix"), "HEIC"),
        (ftyp(b"hevc"), "HEIC"),
        (ftyp(b"mif1", b"mif1", b"heic"), "HEIC"),
        (ftyp(b"avif"), "AVIF"),
        (ftyp(b"avis"), "AVIF"),
        (ftyp(b"mif1", b"mif1", b"miaf", b"avif"), "AVIF"),
        (ftyp(b"mif1"), "HEIF"),
        (ftyp(b"crx "), "camera raw (CR3)"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(50), "camera raw (CR2)"),
        (b"IIRO\x08\0\0\0", "camera raw (ORF)"),
        (b"IIRS\x08\0\0\0", "camera raw (ORF)"),
        (b"MMOR\0\0\0\x08", "camera raw (ORF)"),
        (b"IIU\0\x18\0\0\0", "camera raw (RW2)"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw (RAF)"),
        (b"FOVb\0\0\x02\0", "camera raw (X3F)"),
        (b"\0MRM\0\0", "camera raw (MRW)"),
        (b"II\x1a\0\0\0HEAPCCDR", "camera raw (CRW)"),
        (b"8BPS\0\x01\0\0", "a Photoshop document (PSD)"),
        (b"8BPS\0\x02\0\0", "a Photoshop document (PSD)"),
        (b"gimp xcf v011", "a GIMP document (XCF)"),
        (b"\x76\x2f\x31\x01\x02\0\0\0", "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance HDR"),
        (b"\0\0\x01\0\x01\0\x20\x20\0\0\x01\0", "an icon (ICO)"),
        (b"\0\0\x02\0\x03\0\x20\x20\0\0\x01\0", "an icon (ICO)"),
        (b"\x0a\x05\x01\x08" + bytes(124), "PCX"),
        (b"Pf\n4 4\n-1.0\n", "PFM (32-bit float)"),
        (b"P7\nWIDTH 4\n", "PAM"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"\x5c\x01\0\0" + bytes(340) + b"n+1\0", "NIfTI"),
        (b"\0\0\x01\x5c" + bytes(340) + b"ni1\0", "NIfTI"),
        (b"\x1c\x02\0\0n+2\0\r\n\x1a\n", "NIfTI"),
        (b"NRRD0005\n", "NRRD"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg width='9'/>", "SVG"),
        (b"\xef\xbb\xbf <svg/>", "SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript (EPS)"),
        (b"\xc5\xd0\xd3\xc6\0", "PostScript (EPS)"),
        (b"qoif\0\0\0\x01", "QOI"),
        (b"DDS |\0\0\0", "DDS"),
    ],
)
def test_images_that_other_programs_read_are_to_be_converted(content: bytes, name: str) -> None:
    assert reason(content) == f"{name}; convert it to PNG, JPEG or TIFF"


@pytest.mark.row("D08")
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (ftyp(b"isom", b"mp41"), "a video"),
        (ftyp(b"mp42"), "a video"),
        (ftyp(b"qt  "), "a video"),
        (ftyp(b"M4V "), "a video"),
        (ftyp(b"3gp4"), "a video"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "a video"),
        (b"\x1a\x45\xdf\xa3\x01\0", "a video"),
        (b"RIFF\x24\0\0\0AVI LIST", "a video"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a sound"),
        (b"\x93NUMPY\x01\0", "a NumPy array (.npy)"),
        (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (b"BZh91AY&SY", "a bzip2 archive"),
        (b"\xfd7zXZ\0", "an xz archive"),
        (b"x".ljust(257, b"\0") + b"ustar\0", "a tar archive"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"%PDF-1.7", "a PDF"),
        (b"MATLAB 5.0 MAT-file, Platform", "a MATLAB file"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "macOS metadata (AppleDouble)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "an Office document or Thumbs.db"),
        (b"\x7fELF\x02\x01", "a program"),
        (bytes(4_096), "nothing but zeros"),
        (b"P1 is a class of ours\n", "text/HTML"),
        (b"<html><body><svg/></body></html>", "text/HTML"),
        (b"\x07\x01\x02\x03\x04", "unknown content"),
    ],
)
def test_what_is_no_image_is_named(content: bytes, name: str) -> None:
    assert reason(content) == f"{name}, not an image"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "WEBP"),
        (b"BM\x36\0\0\0", "BMP"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"II+\0\x08\0\0\0", "TIFF"),
        (b"MM\0+\0\x08\0\0", "TIFF"),
        (b"GIF89a", "GIF"),
        (b"P4\n8 8\n", "PPM"),
        (b"P2 # made by hand\n8 8\n", "PPM"),
        (b"P3\n# comment\n8 8\n", "PPM"),
    ],
)
def test_formats_are_known_by_their_content(content: bytes, kind: Format) -> None:
    assert find_format(content, ALL) == kind
    others = [other for other in ALL if other != kind]
    with pytest.raises(InvalidImage, match=f"^{kind}, not one of ") as caught:
        find_format(content, others)
    assert caught.value.format == kind


def test_random_bytes_have_a_name_too() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = rng.integers(0, 256, int(rng.integers(1, 2_000)), dtype=np.uint8).tobytes()
        assert reason(content)
