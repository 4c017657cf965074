cwlVersion: v1.2
class: CommandLineTool

label: Assess ticks
doc: |
  Says by how much the ticks were late. The runner takes the values of the outputs from `cwl.output.json`.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: assess.py
    inputBinding:
      position: 1
  ticks:
    type: File
    doc: CSV with each count and the seconds since the start.
    inputBinding:
      position: 2

stdout: cwl.output.json

outputs:
  mean_delay:
    type: double
    doc: Mean delay in seconds.
  worst_delay:
    type: double
    doc: Largest delay in seconds.
