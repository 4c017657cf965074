cwlVersion: v1.2
class: CommandLineTool
requirements:
  EnvVarRequirement: {envDef: {GREETING: $(inputs.text), FIXED: "a b"}}
  ResourceRequirement: {coresMin: 1, ramMin: 64, tmpdirMin: 1, outdirMin: 1}
  WorkReuse: {enableReuse: false}
  NetworkAccess: {networkAccess: false}
  ToolTimeLimit: {timelimit: 60}
hints:
  - {class: SoftwareRequirement, packages: {samtools: {version: ["1.0"], specs: ["http://example.org/x"]}}}
  - {class: "http://example.org/Unknown", anything: [at, all]}
inputs: {text: string}
baseCommand: [sh, -c]
arguments: ['printf "%s|%s|%s|%s" "$GREETING" "$FIXED" "$0" "\${HWA_DATA_DIR-none}"', $(runtime.cores)]
stdout: said
outputs: {said: stdout}
