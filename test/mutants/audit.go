package main

var audit = []mutant{}
