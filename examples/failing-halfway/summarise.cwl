cwlVersion: v1.2
class: CommandLineTool

label: Summarise records
doc: Computes the mean temperature of each station.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: summarise.py
    inputBinding:
      position: 1
  records:
    type: File
    doc: Checked records.
    inputBinding:
      position: 2

stdout: means.csv

outputs:
  means:
    type: stdout
    doc: CSV with one line for each station.
