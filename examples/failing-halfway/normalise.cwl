cwlVersion: v1.2
class: CommandLineTool

label: Normalise records
doc: Writes records with commas and without blanks, line for line.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: normalise.py
    inputBinding:
      position: 1
  records:
    type: File
    doc: CSV, separated by commas or semicolons.
    inputBinding:
      position: 2

stdout: normalised.csv

outputs:
  normalised:
    type: stdout
    doc: The records, separated by commas.
