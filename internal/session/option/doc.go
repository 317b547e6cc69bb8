// Package option reads command lines as getopt_long(3) does, and has the options of the commands
// about sessions, which are the same on the laptop and in a workspace. Begin with Table.
package option
