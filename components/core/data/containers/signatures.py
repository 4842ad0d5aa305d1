"""What a file is, by its first bytes: a format that can be read, or the name of something else."""

import re
from collections.abc import Collection

from components.core.data.containers import Format, InvalidImage

_HEAD = 1024

_FORMATS: tuple[tuple[re.Pattern[bytes], Format], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"\xff\xd8\xff(?!\xf7)"), "JPEG"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"BM"), "BMP"),
    (re.compile(rb"(II[*+]\0|MM\0[*+])(?!.{4}CR[\x01-\x03])", re.DOTALL), "TIFF"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
    (re.compile(rb"P[1-6]\s+[#\d]"), "PPM"),
)

# Images that only other programs read: PNG, JPEG or TIFF can be made of them.
_UNREADABLE_IMAGES: tuple[tuple[bytes, str], ...] = (
    # ISO 14496-12: size, "ftyp", the brand; the names of the brands from mp4ra.org
    (rb"....ftypcrx ", "camera raw (CR3)"),
    (rb"....ftyp(avi[fs]|.{4}.{4}(.{4}){0,9}?avif)", "AVIF"),
    (rb"....ftyp(hei[cmsx]|hev[cmsx]|.{4}.{4}(.{4}){0,9}?heic)", "HEIC"),
    (rb"....ftyp(mif1|msf1)", "HEIF"),
    (rb"....ftypjp2|\0\0\0\x0cjP {2}\r\n\x87\n|\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "JPEG XL"),
    (rb"\xff\xd8\xff\xf7", "JPEG-LS"),
    (rb"(II[*+]\0|MM\0[*+]).{4}CR[\x01-\x03]", "camera raw (CR2)"),
    (rb"II\x1a\0\0\0HEAPCCDR", "camera raw (CRW)"),
    (rb"II(RO|RS)|MMOR", "camera raw (ORF)"),
    (rb"IIU\0", "camera raw (RW2)"),
    (rb"FUJIFILMCCD-RAW", "camera raw (RAF)"),
    (rb"FOVb", "camera raw (X3F)"),
    (rb"\x00MRM", "camera raw (MRW)"),
    (rb"II\xbc[\0\x01]", "JPEG XR"),
    (rb".{128}DICM", "DICOM"),
    (rb"8BPS\0[\x01\x02]", "a Photoshop document (PSD)"),
    (rb"gimp xcf", "a GIMP document (XCF)"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"#\?(RADIANCE|RGBE)", "Radiance HDR"),
    (rb"\0\0[\x01\x02]\0[\x01-\xff]\0.{3}[\0\x01]", "an icon (ICO)"),
    (rb"icns", "an icon (ICNS)"),
    (rb"\x0a[\0\x02-\x05]\x01[\x01\x02\x04\x08]", "PCX"),
    (rb"P[Ff]\s", "PFM (32-bit float)"),
    (rb"P7\s", "PAM"),
    (rb"SIMPLE  =", "FITS"),
    (rb".{344}(n\+1|ni1)\0|[\x1c\x02]..[\0\x02]n(\+2|i2)\0", "NIfTI"),
    (rb"NRRD000", "NRRD"),
    (rb"DDS ", "DDS"),
    (rb"qoif", "QOI"),
    (rb"BPG\xfb", "BPG"),
    (rb"\x8a[MJ]NG|\x8bJNG", "MNG or JNG"),
    (rb"\x59\xa6\x6a\x95", "a Sun raster image"),
    (rb"\x01\xda[\0\x01][\x01\x02]", "an SGI image"),
    (rb"AT&TFORM", "DjVu"),
    (rb"ZISRAWFILE", "a Zeiss microscope image (CZI)"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript (EPS)"),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml[^\0]*|<!--[^\0]*|<!DOCTYPE svg[^\0]*)?<svg[\s/>]", "SVG"),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile"),
)

_NON_IMAGES: tuple[tuple[bytes, str], ...] = (
    (rb"....ftyp|....(moov|mdat|wide)|\x1a\x45\xdf\xa3|RIFF....AVI |OggS|FLV\x01", "a video"),
    (rb"\0\0\x01[\xb3\xba]|\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video"),
    (rb"RIFF....WAVE|ID3|fLaC", "a sound"),
    (rb"%PDF", "a PDF"),
    (rb"PK\x03\x04|PK\x05\x06", "a ZIP archive"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (rb"Rar!\x1a\x07", "a RAR archive"),
    (rb"BZh[1-9]1AY&SY", "a bzip2 archive"),
    (rb"\xfd7zXZ\0", "an xz archive"),
    (rb"\x28\xb5\x2f\xfd", "a zstd archive"),
    (rb".{257}ustar", "a tar archive"),
    (rb"\x93NUMPY", "a NumPy array (.npy)"),
    (rb"\x89HDF\r\n\x1a\n", "HDF5"),
    (rb"MATLAB 5\.0 MAT-file", "a MATLAB file"),
    (rb"PAR1", "a Parquet table"),
    (rb"SQLite format 3\0", "an SQLite database"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document or Thumbs.db"),
    (rb"\0\x05\x16[\0\x07]\0\x02\0\0", "macOS metadata (AppleDouble)"),
    (rb"\x7fELF|MZ.{62}", "a program"),
    (rb"version https://git-lfs", "a Git LFS pointer (run `git lfs pull`)"),
    (rb"\0+\Z", "nothing but zeros"),
    (rb"[\t\n\f\r\x20-\x7e\x80-\xff]{1,1024}\Z", "text/HTML"),
)


def find_format(content: bytes, allowed: Collection[Format]) -> Format:
    """The format of a file's content, whatever it is called.

    Raises:
        InvalidImage: not one of `allowed`; the reason names what it is.
    """
    if not content:
        raise InvalidImage("zero bytes")
    head = content[:_HEAD]
    for signature, kind in _FORMATS:
        if signature.match(head):
            if kind not in allowed:
                raise InvalidImage(f"{kind}, not one of {', '.join(allowed)}", kind)
            return kind
    if name := _first_match(_UNREADABLE_IMAGES, head):
        raise InvalidImage(f"{name}; convert it to PNG, JPEG or TIFF")
    raise InvalidImage(f"{_first_match(_NON_IMAGES, head) or 'unknown content'}, not an image")


def _first_match(names: tuple[tuple[bytes, str], ...], head: bytes) -> str:
    return next((name for signature, name in names if re.match(signature, head, re.DOTALL)), "")
