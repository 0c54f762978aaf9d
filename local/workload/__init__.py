"""The workload accounts: moto, with the parts replaced in which Mayfly would notice that it is not AWS."""
