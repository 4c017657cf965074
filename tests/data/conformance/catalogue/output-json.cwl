cwlVersion: v1.2
class: CommandLineTool
inputs: {json: string}
baseCommand: [sh, -c]
arguments: ['printf "%s" "$0" > cwl.output.json; printf data > data.txt; mkdir dir; printf x > dir/x', $(inputs.json)]
outputs: {value: Any}
