package main

var session = []mutant{}
