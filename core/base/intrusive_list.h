// IntrusiveList is the list type for objects that are on lists of their owner: ready connections,
// subscribers of a spoke, listeners of a connection. An element derives from one ListNode for each
// list that it may be on, named by a tag.
//
//   struct ReadyTag {};
//   class IoHandler : public ListNode<ReadyTag> { ... };
//   IntrusiveList<IoHandler, ReadyTag> ready;
//
//      first_ ──▶ A ◀──▶ B ◀──▶ C        circular: A's previous is C, the last
//
// Owner:  its holder; the elements live elsewhere, and leave the list before they end.
// Thread: the owner's.
// Bound:  no memory of its own: a pointer, and two for each element. Each call is O(1), except
//         Size() and CheckInvariants(), which walk.
// Errors: none. An element that is added twice, removed from a list that it is not on, or destroyed
//         while it is on one, ends the process.
#ifndef SLUICE_CORE_BASE_INTRUSIVE_LIST_H_
#define SLUICE_CORE_BASE_INTRUSIVE_LIST_H_

#include <cstddef>
#include <utility>

#include "sluice/core/base/check.h"
#include "sluice/core/base/language.h"

namespace sluice {

template <class T, class Tag>
class IntrusiveList;

template <class Tag>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;

 protected:
  ~ListNode() { SLUICE_CHECK(next_ == nullptr); }

 private:
  template <class T, class OfTag>
  friend class IntrusiveList;
  ListNode* next_ = nullptr;  // nullptr: on no list.
  ListNode* prev_ = nullptr;
};

template <class T, class Tag>
class IntrusiveList {
 public:
  IntrusiveList() = default;
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  static bool Linked(const T& element) { return NodeOf(element).next_ != nullptr; }

  bool Empty() const { return first_ == nullptr; }
  T* Front() const { return Element(first_); }  // nullptr: the list is empty.
  // The element behind `element`; nullptr: none, `element` is the last.
  T* Next(const T& element) const {
    Node* const next = NodeOf(element).next_;
    return next == first_ ? nullptr : Element(next);
  }

  void PushBack(T& element) {
    Node& node = NodeOf(element);
    SLUICE_CHECK(node.next_ == nullptr);
    if (first_ == nullptr) {
      first_ = node.next_ = node.prev_ = &node;
      return;
    }
    node.next_ = first_;
    node.prev_ = std::exchange(first_->prev_, &node);
    node.prev_->next_ = &node;
  }
  void PushFront(T& element) {
    PushBack(element);
    first_ = &NodeOf(element);
  }
  void Remove(T& element) {
    Node& node = NodeOf(element);
    SLUICE_CHECK(node.next_ != nullptr);
    if (node.next_ == &node) {
      SLUICE_CHECK(first_ == &node);
      first_ = nullptr;
    } else {
      node.prev_->next_ = node.next_;
      node.next_->prev_ = node.prev_;
      if (first_ == &node) first_ = node.next_;
    }
    node.next_ = node.prev_ = nullptr;
  }
  // For an element that may not be on the list. True: it was, and is removed.
  bool RemoveIfLinked(T& element) {
    if (!Linked(element)) return false;
    Remove(element);
    return true;
  }
  T* PopFront() {  // nullptr: the list is empty.
    T* const front = Front();
    if (front != nullptr) Remove(*front);
    return front;
  }
  // Takes all elements of `other`, in their order, and leaves it empty. Requires: Empty().
  void TakeAll(IntrusiveList& other) {
    SLUICE_CHECK(first_ == nullptr);
    first_ = std::exchange(other.first_, nullptr);
  }

  size_t Size() const {
    size_t size = 0;
    for (const T* element = Front(); element != nullptr; element = Next(*element)) ++size;
    return size;
  }
  void CheckInvariants() const {
    for (const T* element = Front(); element != nullptr; element = Next(*element)) {
      const Node& node = NodeOf(*element);
      SLUICE_CHECK(node.next_->prev_ == &node && node.prev_->next_ == &node);
    }
  }

 private:
  using Node = ListNode<Tag>;
  static Node& NodeOf(T& element) { return element; }
  static const Node& NodeOf(const T& element) { return element; }
  static T* Element(Node* node) { return static_cast<T*>(node); }

  Node* first_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_INTRUSIVE_LIST_H_
