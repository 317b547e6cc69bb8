// Package stdio reads and writes the descriptors of a client's standard input, output and error, which
// other processes share, and interprets what a user types at its terminal.
package stdio
