cwlVersion: v1.0
class: CommandLineTool
requirements: [{class: InlineJavascriptRequirement}, {class: InitialWorkDirRequirement, listing: "$(inputs.tree.listing)"}]
inputs: {tree: Directory}
baseCommand: [ls]
stdout: names
outputs: {names: stdout}
