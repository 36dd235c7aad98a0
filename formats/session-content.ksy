meta:
  id: qtap_content
  title: qtapture session file, decompressed content
  license: MIT
  endian: le
doc: |
  What `zstd -dc` gives of a session, or of one chunk: formats/session.md 3.3 and 4.
seq:
  - id: contents
    type: content
    repeat: eos
types:
  content:
    seq:
      - id: salt
        size: 16
      - id: version
        type: u2
      - id: kind
        type: u2
      - id: sequence
        type: u4
      - id: num_parts
        type: u4
      - id: reserved
        type: u4
      - id: table
        type: part_row
        repeat: expr
        repeat-expr: num_parts
      - id: parts
        type: part(_index)
        repeat: expr
        repeat-expr: num_parts
  part_row:
    seq:
      - id: ring
        type: u2
      - id: cpu
        type: u2
      - id: length
        type: u4
  part:
    params:
      - id: at
        type: s4
    seq:
      - id: data
        size: _parent.table[at].length
        type:
          switch-on: _parent.table[at].ring
          cases:
            0xffff: own_records
            _: perf_records
  own_records:
    seq:
      - id: records
        type: own_record
        repeat: eos
  own_record:
    seq:
      - id: length
        type: u4
      - id: type
        type: u2
      - id: version
        type: u2
      - id: time_ns
        type: u8
      - id: body
        size: length - 16
  perf_records:
    seq:
      - id: records
        type: perf_record
        repeat: eos
  perf_record:
    seq:
      - id: type
        type: u4
      - id: misc
        type: u2
      - id: size
        type: u2
      - id: body
        size: size - 8
        type:
          switch-on: type
          cases:
            9: sample
  sample:
    seq:
      - id: length
        type: u4
      - id: raw
        size: length
