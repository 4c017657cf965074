cwlVersion: v1.2
class: CommandLineTool
doc: A user says which file a tool writes.
baseCommand: sort
inputs:
  name: {type: string, inputBinding: {prefix: -o, position: 1}}
  text: {type: File, inputBinding: {position: 2}}
outputs:
  sorted: {type: File, outputBinding: {glob: $(inputs.name)}}
