"""What finished work says: tables for people, numbers for programs, pictures."""
