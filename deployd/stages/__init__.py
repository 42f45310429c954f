"""The way of a commit, one folder a stage, in this order. Each takes the value before it and returns its own.

source     commit -> SourceTree          a clean checkout from a bare mirror
build      SourceTree -> BuildOutput     the app's own build, in a clean environment
trace      BuildOutput -> FileSet        the closed set of files the server needs
package    FileSet -> Artifact           manifest and content-addressed objects
verify     Artifact -> Verified          it runs alone, without the checkout and without a network
ship       Artifact -> Shipped(host)     only what a host lacks travels; the host seals it
activate   Release -> Live(host)         start, probe, flip, drain
supervise  Live -> Findings              what is live where, and what is wrong with it

A stage is a pure doer: it opens no database, reads no settings and imports no other stage.
"""
