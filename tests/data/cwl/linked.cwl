cwlVersion: v1.2
class: CommandLineTool
requirements:
  SchemaDefRequirement:
    types:
      - {name: Node, type: record, fields: {value: int, next: Node?}}
baseCommand: "true"
inputs: {list: Node}
outputs: {}
