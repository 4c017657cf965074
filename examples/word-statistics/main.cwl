cwlVersion: v1.2
class: Workflow

label: Word statistics over text files
doc: |
  Counts the words of every file and sums them up.

  Every file is counted on its own; then the counts are merged into one table. Upper and lower case are the same word;
  digits and punctuation are left out.

requirements:
  ScatterFeatureRequirement: {}

inputs:
  texts:
    type: File[]
    label: Texts
    doc: The text files, in UTF-8.
  top:
    type: int
    default: 10
    label: Number of words
    doc: How many of the most frequent words to list.

steps:
  count:
    label: Count
    doc: Counts the words of one file.
    run: count.cwl
    scatter: text
    in:
      text: texts
    out: [counts]
  merge:
    label: Merge
    doc: Sums up the counts of all files.
    run: merge.cwl
    in:
      counts: count/counts
      top: top
    out: [table, total, distinct, frequent]

outputs:
  table:
    type: File
    outputSource: merge/table
    label: Table
    doc: CSV with one line for each word, the most frequent first, and how often it occurs in all files and in each.
  total:
    type: int
    outputSource: merge/total
    label: Words
    doc: How many words all files have together.
  distinct:
    type: int
    outputSource: merge/distinct
    label: Distinct words
    doc: How many different words there are.
  frequent:
    type: string[]
    outputSource: merge/frequent
    label: Most frequent words
    doc: The most frequent words, at most as many as asked for.
  counts:
    type: File[]
    outputSource: count/counts
    label: Counts
    doc: The counts of each file as JSON, in the order of the texts.
