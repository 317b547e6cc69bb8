package main

var workspace = []mutant{}
