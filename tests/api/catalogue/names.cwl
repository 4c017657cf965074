cwlVersion: v1.2
class: CommandLineTool
doc: Files with names that make trouble.
baseCommand: [python3, -c]
arguments:
  - |
    open("grün 中 \N{GRINNING FACE} \"q\".txt", "w").write("x")
    open("line\nfeed.dat", "w").write("y")
inputs: []
outputs:
  unicode: {type: File, outputBinding: {glob: "*.txt"}}
  control: {type: File, outputBinding: {glob: "*.dat"}}
