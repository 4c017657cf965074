cwlVersion: v1.2
class: CommandLineTool

label: Tabulate epidemics
doc: Finds the peak and the size of each epidemic, and puts the curves into a folder.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: tabulate.py
    inputBinding:
      position: 1
  curves:
    type: File[]
    doc: What `simulate.cwl` made for each rate.
    inputBinding:
      position: 2

outputs:
  table:
    type: File
    doc: CSV with one line for each epidemic.
    outputBinding:
      glob: sweep.csv
  folder:
    type: Directory
    doc: All curves.
    outputBinding:
      glob: curves
