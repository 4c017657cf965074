cwlVersion: v1.2
class: CommandLineTool
id: my-tool
inputs:
  files: File[]?
  flag: {type: "boolean?", inputBinding: {prefix: --flag}}
  many: {type: "int[]?", inputBinding: {prefix: -n, itemSeparator: ",", separate: false}}
  each: {type: {type: array, items: string, inputBinding: {prefix: -e}}, default: [], inputBinding: {position: 2}}
baseCommand: echo
stdout: line
outputs: {line: stdout}
