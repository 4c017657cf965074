cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat "$0" "$0"_index/*']
stdout: all
inputs:
  set: {type: File, secondaryFiles: [_index], inputBinding: {}}
outputs: {all: stdout}
