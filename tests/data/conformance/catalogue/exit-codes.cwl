cwlVersion: v1.2
class: CommandLineTool
inputs: {code: int}
baseCommand: [sh, -c]
arguments: ['echo "code $0" >&2; exit $0', $(inputs.code)]
successCodes: [0, 3]
temporaryFailCodes: [4]
permanentFailCodes: [5]
outputs: {code: {type: int, outputBinding: {outputEval: $(runtime.exitCode)}}}
