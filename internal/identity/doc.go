// Package identity holds the keys of an agent. A private key arrives in the form of RFC 9987
// section 3.2, is checked against its public half, and is kept in memory that is locked, left out
// of core dumps and overwritten when the key is forgotten. It is read from there for each signature
// and never leaves the package. Begin with Key.
//
// Go's cryptography works on the heap, where traces of keys may stay until the collector reuses it.
// The agent's process must therefore be neither dumpable nor traceable (agent.HardenProcess). Keys
// on security keys and smart cards are used through OpenSSH's own helper programs, so a vendor's
// library never runs in the agent.
package identity
