cwlVersion: v1.2
class: CommandLineTool

label: Plot epidemics
doc: Draws the infected over time, one line for each epidemic.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: plot.py
    inputBinding:
      position: 1
  curves:
    type: File[]
    doc: What `simulate.cwl` made for each rate.
    inputBinding:
      position: 2

stdout: sweep.svg

outputs:
  plot:
    type: stdout
    doc: The plot as SVG.
