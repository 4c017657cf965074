cwlVersion: v1.2
class: CommandLineTool

label: Count seconds
doc: Counts once a second, with a line in the log each time.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: count.py
    inputBinding:
      position: 1
  seconds:
    type: int
    doc: How far to count.
    inputBinding:
      position: 2

stdout: ticks.csv

outputs:
  ticks:
    type: stdout
    doc: CSV with each count and the seconds since the start.
