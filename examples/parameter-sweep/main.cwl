cwlVersion: v1.2
class: Workflow

label: Sweep of an epidemic's transmission rate
doc: |
  Simulates an epidemic once for each transmission rate and compares the runs in a table and a plot.

  The model is the SIR model: a *susceptible* person is infected by *infected* ones, who become *recovered* and immune.
  With transmission rate *b* and recovery rate *g*, each person infects *b/g* others while nearly all are susceptible;
  below 1 the epidemic dies out.

requirements:
  ScatterFeatureRequirement: {}

inputs:
  transmission_rates:
    type: double[]
    default: [0.15, 0.2, 0.25, 0.3, 0.4, 0.5]
    label: Transmission rates
    doc: Infections that one infected person causes in a day. Each rate gets a simulation of its own.
  recovery_rate:
    type: double
    default: 0.1
    label: Recovery rate
    doc: Fraction of the infected who recover each day, that is, 1 divided by the days for which a person is infectious.
  population:
    type: int
    default: 100000
    label: Population
    doc: Number of people.
  infected:
    type: int
    default: 20
    label: Infected at first
    doc: How many of them are infected on day 0.
  days:
    type: int
    default: 180
    label: Days
    doc: Length of the simulation.

steps:
  simulate:
    label: Simulate
    doc: Simulates one epidemic.
    run: simulate.cwl
    scatter: transmission_rate
    in:
      transmission_rate: transmission_rates
      recovery_rate: recovery_rate
      population: population
      infected: infected
      days: days
    out: [curve]
  tabulate:
    label: Tabulate
    doc: Finds the peak and the size of each epidemic.
    run: tabulate.cwl
    in:
      curves: simulate/curve
    out: [table, folder]
  draw:
    label: Draw
    doc: Draws the infected over time, one line for each epidemic.
    run: plot.cwl
    in:
      curves: simulate/curve
    out: [plot]

outputs:
  table:
    type: File
    outputSource: tabulate/table
    label: Table
    doc: "CSV with one line for each rate: reproduction number, day and height of the peak, total number of people infected."
  plot:
    type: File
    outputSource: draw/plot
    label: Plot
    doc: The infected over time, as SVG.
  curves:
    type: Directory
    outputSource: tabulate/folder
    label: Curves
    doc: "One CSV for each rate: the susceptible, infected and recovered of each day."
