def main(arguments):
    print("hello", *arguments)
    return 0
