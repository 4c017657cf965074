cwlVersion: v1.2
class: CommandLineTool
doc: Fails.
baseCommand: [sh, -c, 'echo "no such element: unobtainium" >&2; exit 3']
inputs: []
outputs: []
