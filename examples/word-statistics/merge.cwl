cwlVersion: v1.2
class: CommandLineTool

label: Merge counts
doc: |
  Sums up the counts of several files. Besides the table it leaves `cwl.output.json`, from which the runner takes the
  values of all outputs.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: merge.py
    inputBinding:
      position: 1
  top:
    type: int
    doc: How many of the most frequent words to list.
    inputBinding:
      position: 2
  counts:
    type: File[]
    doc: What `count.cwl` made of each file.
    inputBinding:
      position: 3

outputs:
  table:
    type: File
    doc: CSV with one line for each word.
  total:
    type: int
    doc: Sum of all counts.
  distinct:
    type: int
    doc: Number of different words.
  frequent:
    type: string[]
    doc: The most frequent words.
