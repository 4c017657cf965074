cwlVersion: v1.2
class: CommandLineTool

label: Simulate an epidemic
doc: Integrates the SIR model for one set of parameters.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: simulate.py
    inputBinding:
      position: 1
  transmission_rate:
    type: double
    doc: Infections that one infected person causes in a day.
    inputBinding:
      position: 2
  recovery_rate:
    type: double
    doc: Fraction of the infected who recover each day.
    inputBinding:
      position: 3
  population:
    type: int
    doc: Number of people.
    inputBinding:
      position: 4
  infected:
    type: int
    doc: How many are infected on day 0.
    inputBinding:
      position: 5
  days:
    type: int
    doc: Length of the simulation.
    inputBinding:
      position: 6

stdout: rate-$(inputs.transmission_rate).csv

outputs:
  curve:
    type: stdout
    doc: CSV with the parameters and the susceptible, infected and recovered of each day.
