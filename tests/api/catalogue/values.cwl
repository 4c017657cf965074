cwlVersion: v1.2
class: CommandLineTool
doc: Outputs of every kind.
baseCommand: [sh, -c, 'mkdir -p tree/sub; echo a > tree/a.txt; echo b > tree/sub/b.txt; echo 1 > one.dat; echo 2 > two.dat; cp "$0" copy.bin']
inputs:
  file: {type: File, inputBinding: {position: 1}}
outputs:
  copy: {type: File, outputBinding: {glob: copy.bin}}
  parts: {type: "File[]", outputBinding: {glob: "*.dat"}}
  tree: {type: Directory, outputBinding: {glob: tree}}
