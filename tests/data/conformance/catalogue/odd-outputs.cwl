cwlVersion: v1.2
class: CommandLineTool
inputs: {octal: string}
baseCommand: [sh, -c]
arguments: ['mkdir out; printf bytes > "out/\$(printf "$0")"; printf b > "out/semi;colon"', $(inputs.octal)]
outputs: {out: {type: Directory, outputBinding: {glob: out}}}
