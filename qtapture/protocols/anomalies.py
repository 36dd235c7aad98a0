"""What can be odd about a message: the codes of docs/anomalies.md, in its order."""

from enum import StrEnum

__all__ = ["AnomalyCode"]


class AnomalyCode(StrEnum):
    """Stable words: exports carry them."""

    BARE_CR = "bare_cr"
    BARE_LF = "bare_lf"
    LEADING_BLANK_LINE = "leading_blank_line"
    BAD_START_LINE = "bad_start_line"
    BAD_HEADER_LINE = "bad_header_line"
    BAD_HEADER_NAME = "bad_header_name"
    FOLDED_HEADER = "folded_header"
    SPACE_BEFORE_COLON = "space_before_colon"
    CONTROL_CHARACTER = "control_character"
    NON_ASCII = "non_ascii"
    HEADERS_TOO_LARGE = "headers_too_large"
    MISSING_HOST = "missing_host"
    DUPLICATE_HOST = "duplicate_host"
    BAD_CONTENT_LENGTH = "bad_content_length"
    DUPLICATE_CONTENT_LENGTH = "duplicate_content_length"
    CONFLICTING_CONTENT_LENGTH = "conflicting_content_length"
    CL_AND_TE = "cl_and_te"
    CHUNKED_NOT_LAST = "chunked_not_last"
    BAD_CHUNK_SIZE = "bad_chunk_size"
    BAD_CHUNK_END = "bad_chunk_end"
    BYTES_BETWEEN_MESSAGES = "bytes_between_messages"
