cwlVersion: v1.2
class: CommandLineTool

label: Check records
doc: Passes records on, or fails and says which are wrong.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: check.py
    inputBinding:
      position: 1
  records:
    type: File
    doc: CSV, separated by commas.
    inputBinding:
      position: 2

stdout: checked.csv

outputs:
  checked:
    type: stdout
    doc: The same records.
