cwlVersion: v1.2
class: CommandLineTool
doc: Counts seconds.
baseCommand: [sh, -c, 'i=0; while [ $i -lt "$0" ]; do echo "second $i" >&2; sleep 1; i=$((i+1)); done']
inputs:
  seconds: {type: int, inputBinding: {position: 1}}
outputs: []
